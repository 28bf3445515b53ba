"""In the guest: each driver that the product uses, unmodified, on the kernel's own devices. Prints one JSON object."""

import json
import time

import gpiozero
from adafruit_ads1x15.ads1115 import ADS1115
from adafruit_blinka.microcontroller.generic_linux.i2c import I2C
from RPLCD.i2c import CharLCD
from w1thermsensor import Sensor, W1ThermSensor

said: dict[str, object] = {}


class Bus(I2C):  # type: ignore[misc]  # Any
    """busio.I2C without `board`, which asks questions on a terminal."""

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass


adc = ADS1115(Bus(1), gain=1)
said["volt"] = [round(adc.read(4 + pin) * 4.096 / 32768, 3) for pin in range(4)]

display = CharLCD("PCF8574", 0x27, port=1, cols=20, rows=4, charmap="A00")
display.write_string("virtual Pi\r\nrow two")

gpiozero.Device.ensure_pin_factory()
said["board"] = gpiozero.pi_info().model
led, button = gpiozero.LED(4), gpiozero.Button(3)
led.on()
pressed = button.wait_for_press(timeout=60)
led.off()
said["pressed"] = pressed

for _ in range(300):
    if len(W1ThermSensor.get_available_sensors()) == 2:
        break
    time.sleep(0.2)
said["probes"] = {
    f"28-{sensor.id}": sensor.get_temperature() for sensor in W1ThermSensor.get_available_sensors([Sensor.DS18B20])
}
print(json.dumps(said))
